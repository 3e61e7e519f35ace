// Package importtest holds the test that keeps imports going one way: cmd -> web -> api -> advisor -> store, llm, lab.
package importtest
