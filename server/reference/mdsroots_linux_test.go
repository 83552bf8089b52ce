package reference

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
)

// No roots means nobody, and never the CAs of the machine, which crypto/x509 would
// take for a nil pool. Only on Linux can those be replaced for a test.
func TestImportMDSWithoutRoots(t *testing.T) {
	a := newAuthority(t)
	file := filepath.Join(t.TempDir(), "machine.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
	t.Setenv("SSL_CERT_DIR", t.TempDir())
	vouchers := x509.NewCertPool()
	vouchers.AddCert(a.middle.cert)
	if _, err := a.signer.cert.Verify(x509.VerifyOptions{Intermediates: vouchers, CurrentTime: signedOn()}); err != nil {
		t.Fatalf("the machine does not trust the test's root, so that nothing would be shown: %v", err)
	}
	m, err := ImportMDS(a.sign(text(t, content(a.entryOf(modelOne)))), nil, signedOn())
	wantRefusal(t, "nil roots", m, err, "mds-chain", "Test Root")
}
