package store_test

import (
	"testing"

	"git.georgsen.dk/hwlab/internal/testpg"
)

func TestMain(m *testing.M) { testpg.Main(m) }
