package reference

import (
	"crypto/x509"
	_ "embed"
)

// The roots in PEM: see data/README.md.
var (
	//go:embed data/globalsign-r3.pem
	globalSignR3 []byte
	//go:embed data/globalsign-r46.pem
	globalSignR46 []byte
)

// FIDORoots are the CAs that may sign a BLOB: GlobalSign R3 and R46. They are
// pinned: the machine's own trusted CAs have no say.
func FIDORoots() *x509.CertPool {
	pool := x509.NewCertPool()
	// What could not be read would be missing, and so deny; a test reads both.
	pool.AppendCertsFromPEM(globalSignR3)
	pool.AppendCertsFromPEM(globalSignR46)
	return pool
}
