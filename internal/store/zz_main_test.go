package store_test

import (
	"git.georgsen.dk/hwlab/internal/testpg"
	"testing"
)

func TestMain(m *testing.M) { testpg.Main(m) }
