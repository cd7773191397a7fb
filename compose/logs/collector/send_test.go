package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority issues one certificate that serves both sides.
func authority(t *testing.T) (roots, pair []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "logs"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	roots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return roots, append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), roots...)
}

func put(t *testing.T, folder string, roots, pair []byte, at time.Time) {
	t.Helper()
	for name, data := range map[string][]byte{"ca.pem": roots, "tls.pem": pair} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// serve stands for a store that demands a certificate of one authority.
func serve(t *testing.T, roots, pair []byte) (*store, *httptest.Server) {
	t.Helper()
	own, err := tls.X509KeyPair(pair, pair)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(roots)
	s := &store{}
	server := httptest.NewUnstartedServer(s)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	return s, server
}

func TestRenewedCertificateIsShownWithoutARestart(t *testing.T) {
	folder, began := t.TempDir(), time.Now().Add(-time.Minute)
	roots, pair := authority(t)
	put(t, folder, roots, pair, began)
	former, server := serve(t, roots, pair)
	s := newSender(server.URL+"/insert/jsonline", folder)
	rows := []row{{"a", encode(map[string]any{"_msg": "m"}, "a", "", part{time: stamp})}}
	if err := s.post(context.Background(), rows); err != nil {
		t.Fatal(err)
	}

	// The whole authority is another one now, on both sides.
	roots, pair = authority(t)
	renewed, other := serve(t, roots, pair)
	s.url = other.URL + "/insert/jsonline"
	if err := s.post(context.Background(), rows); err == nil {
		t.Fatal("a server of an unknown authority was accepted")
	}
	put(t, folder, roots, pair, began.Add(time.Second))
	if err := s.post(context.Background(), rows); err != nil {
		t.Fatal(err)
	}
	if len(former.messages()) != 1 || len(renewed.messages()) != 1 {
		t.Fatal("the rows did not arrive")
	}
}
