package server_test

import (
	"os"
	"testing"

	"muster/server/servertest"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }
