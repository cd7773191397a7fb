package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// issued writes a key and a certificate that vouches for itself, for these names.
func issued(t *testing.T, file string, names ...string) tls.Certificate {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := x509.MarshalPKCS8PrivateKey(key)
	content := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(content, content)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func served(t *testing.T, config *tls.Config, shown ...tls.Certificate) bool {
	t.Helper()
	near, far := net.Pipe()
	answers := make(chan error, 1)
	go func() { answers <- tls.Server(far, config).Handshake() }()
	client := tls.Client(near, &tls.Config{InsecureSkipVerify: true, Certificates: shown})
	_ = client.Handshake()
	go func() { _, _ = client.Read(make([]byte, 1)) }() // takes the alert that follows
	return <-answers == nil
}

func TestDeclaredClientsAloneAreServedByTheRootsOfThatMoment(t *testing.T) {
	folder := t.TempDir()
	own, roots := filepath.Join(folder, "tls.pem"), filepath.Join(folder, "ca.pem")
	issued(t, own, "cadvisor")
	prometheus := issued(t, filepath.Join(folder, "one"), "localhost", "prometheus")
	neighbour := issued(t, filepath.Join(folder, "two"), "localhost", "logs")
	stranger := issued(t, filepath.Join(folder, "three"), "prometheus")
	trust := func(files ...string) {
		var all []byte
		for _, file := range files {
			content, _ := os.ReadFile(filepath.Join(folder, file))
			all = append(all, content...)
		}
		_ = os.WriteFile(roots, all, 0o600)
	}
	config := renewed(own, roots)

	trust("one", "two")
	if !served(t, config, prometheus) {
		t.Error("prometheus is refused")
	}
	if served(t, config) || served(t, config, neighbour) || served(t, config, stranger) {
		t.Error("who is no client is served")
	}
	trust("three")
	if !served(t, config, stranger) || served(t, config, prometheus) {
		t.Error("other roots are not taken up")
	}
}
