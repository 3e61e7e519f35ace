package testpg

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	keeperEnv    = "HWLAB_TESTPG_KEEPER" // set only in the keeper's environment; holds its job
	folderPrefix = "hwlab-testpg-"
	logName      = "log"
	dataName     = "data"
)

// job is what a keeper is told when it starts.
type job struct {
	TempDir string   // where the folder is made
	Account *account // whom the programs run as; nil: whoever runs the tests
}

type account struct{ UID, GID uint32 }

// request is one line from the test binary: a program to run or a signal for the one that runs.
type request struct {
	Run    []string
	Signal syscall.Signal
	Close  bool
}

// event is one line to the test binary.
type event struct {
	Dir    string // the folder stands
	PID    int    // a program was started
	Exited bool   // it ended
	Status string // how it ended, "" is success
	Error  string // the request could not be met
}

// init turns a test binary that was started as a keeper into one, before any test runs.
func init() {
	told := os.Getenv(keeperEnv)
	if told == "" {
		return
	}
	// The kernel's parent-death signal follows the thread that forked: fork from the main thread, which stays.
	runtime.LockOSThread()
	var j job
	if err := json.Unmarshal([]byte(told), &j); err != nil {
		fmt.Fprintln(os.Stderr, "testpg: keeper:", err)
		os.Exit(2)
	}
	if err := os.Unsetenv(keeperEnv); err != nil {
		os.Exit(2)
	}
	if err := keep(j); err != nil {
		os.Exit(1) // the test binary was told by an event, or is gone
	}
	os.Exit(0)
}

// keep holds one folder and at most one program in it until it is told to close or its standard input ends.
func keep(j job) error {
	out := json.NewEncoder(os.Stdout)
	tell := func(e event) { _ = out.Encode(e) } // nobody listens any more: standard input ends too

	requests := make(chan request)
	go func() {
		defer close(requests)
		in := json.NewDecoder(os.Stdin)
		for {
			var r request
			if in.Decode(&r) != nil {
				return
			}
			requests <- r
		}
	}()

	dir, lock, err := makeFolder(j)
	if err != nil {
		tell(event{Error: err.Error()})
		return err
	}
	defer lock.Close()
	sweep(j.TempDir, dir)
	tell(event{Dir: dir})

	var running *exec.Cmd
	ended := make(chan error, 1)
	for {
		select {
		case r, open := <-requests:
			switch {
			case !open || r.Close:
				if running != nil {
					endProgram(running, ended)
				}
				if err := removeFolder(dir); err != nil {
					tell(event{Error: err.Error()})
					return err
				}
				return nil
			case len(r.Run) > 0 && running != nil:
				tell(event{Error: "a program is already running"})
			case len(r.Run) > 0:
				cmd, err := startProgram(r.Run, dir, j.Account)
				if err != nil {
					tell(event{Error: err.Error()})
					continue
				}
				running = cmd
				go func() { ended <- cmd.Wait() }()
				tell(event{PID: cmd.Process.Pid})
			case running != nil:
				// An error means that it has just ended, which is told by its own event.
				_ = running.Process.Signal(r.Signal)
			}
		case err := <-ended:
			running = nil
			e := event{Exited: true}
			if err != nil {
				e.Status = err.Error()
			}
			tell(e)
		}
	}
}

// makeFolder makes the keeper's folder and locks it, which tells other keepers that it is in use.
func makeFolder(j job) (string, *os.File, error) {
	dir, err := os.MkdirTemp(j.TempDir, folderPrefix)
	if err != nil {
		return "", nil, err
	}
	fail := func(err error) (string, *os.File, error) {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	lock, err := os.Open(dir)
	if err != nil {
		return fail(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fail(errors.Join(err, lock.Close()))
	}
	if j.Account != nil {
		if err := os.Chown(dir, int(j.Account.UID), int(j.Account.GID)); err != nil {
			return fail(errors.Join(err, lock.Close()))
		}
	}
	return dir, lock, nil
}

// startProgram runs argv in the folder; its output is appended to the folder's log.
func startProgram(argv []string, dir string, as *account) (*exec.Cmd, error) {
	log, err := os.OpenFile(filepath.Join(dir, logName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	// Nothing of the caller's PG* settings, and messages in English: bindFailed reads them.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "LC_ALL=C", "TZ=UTC"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	if as != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: as.UID, Gid: as.GID}
	}
	return cmd, cmd.Start()
}

// endProgram shuts the program down at once and returns when it is gone. SIGQUIT is PostgreSQL's immediate shutdown:
// the server ends its own processes before itself and gives its shared memory back.
func endProgram(cmd *exec.Cmd, ended <-chan error) {
	_ = cmd.Process.Signal(syscall.SIGQUIT)
	patience := time.NewTimer(10 * time.Second)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
		_ = cmd.Process.Kill()
		<-ended
	}
	// initdb's helper may outlive it by a moment.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}

// removeFolder removes the folder, again when a process that was just killed still made a file in it.
func removeFolder(dir string) error {
	var err error
	for pause := time.Millisecond; pause < time.Second; pause *= 2 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		<-time.After(pause)
	}
	return err
}

// sweep removes folders whose keeper was killed: no keeper holds their lock and their server is gone.
func sweep(tempDir, own string) {
	dirs, _ := filepath.Glob(filepath.Join(tempDir, folderPrefix+"*"))
	for _, dir := range dirs {
		if dir != own {
			sweepOne(dir)
		}
	}
}

func sweepOne(dir string) {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || time.Since(info.ModTime()) < time.Minute {
		return // not ours, or so new that its keeper may be about to lock it
	}
	lock, err := os.Open(dir)
	if err != nil {
		return
	}
	defer lock.Close()
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || serverLives(dir) {
		return
	}
	_ = os.RemoveAll(dir)
}

// serverLives reports whether the process in the folder's postmaster.pid exists.
func serverLives(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, dataName, "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, convErr := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || convErr != nil || pid <= 0 {
		return true // unreadable: leave it alone
	}
	return processLives(pid)
}

func processLives(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
