// Package chaos holds hwlab's promises against real failures, seen from outside: the built program in processes of its own,
// a real PostgreSQL, a model server that talks at a set pace, and kill -9, SIGSTOP, crashed databases, broken networks and
// full disks in between. It has nothing but tests.
//
// The short form is part of `make test`; `make chaos` (HWLAB_CHAOS=full) repeats everything many times. What is random comes
// from a seed that each test logs; HWLAB_CHAOS_SEED sets it.
package chaos
