package chaos

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/testpg"
)

// temporary is where the program is built.
var temporary string

func TestMain(m *testing.M) {
	flag.Parse()
	// Most tests wait for something most of the time.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	if full {
		if err := flag.Set("rapid.checks", "5000"); err != nil {
			panic(err)
		}
	}
	dir, err := os.MkdirTemp("", "hwlab-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	temporary = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	testpg.Exit(code)
}

// full is the long form, of `make chaos`.
var full = os.Getenv("HWLAB_CHAOS") == "full"

// times is how often something is done.
func times(short, long int) int {
	if full {
		return long
	}
	return short
}

// dice are a test's random numbers. They are for one goroutine.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if set := os.Getenv("HWLAB_CHAOS_SEED"); set != "" {
		var err error
		if seed, err = strconv.ParseUint(set, 10, 64); err != nil {
			t.Fatalf("HWLAB_CHAOS_SEED: %v", err)
		}
	}
	t.Logf("HWLAB_CHAOS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// between is a random duration from a to b.
func between(r *rand.Rand, a, b time.Duration) time.Duration {
	return a + time.Duration(r.Int64N(int64(b-a)+1))
}

// hwlab builds the program, once.
var hwlab = sync.OnceValues(func() (string, error) {
	path := filepath.Join(temporary, "hwlab")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./cmd/hwlab")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// shared is a durable cluster for the tests that leave it alone.
var shared = sync.OnceValues(func() (*testpg.Cluster, error) { return testpg.Start(testpg.Options{Durable: true}) })

// sharedURL is a fresh database on the shared cluster.
func sharedURL(t *testing.T) string {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return testpg.Database(t, c.URL())
}

// cluster is a durable PostgreSQL of the test's own.
func cluster(t *testing.T) *testpg.Cluster {
	t.Helper()
	c, err := testpg.Start(testpg.Options{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// eachEngine runs test with the settings that lead to an empty record on each engine.
func eachEngine(t *testing.T, test func(t *testing.T, settings []string)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, nil)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, []string{"HWLAB_DATABASE_URL=" + sharedURL(t)})
	})
}

// must fails the test of an error.
func must(t *testing.T, err error, more ...error) {
	t.Helper()
	if err := errors.Join(append(more, err)...); err != nil {
		t.Fatal(err)
	}
}
