package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	batchRows  = 5000
	batchBytes = 1 << 20
	answerIn   = 30 * time.Second
)

// row is what is sent: one line of JSON, and whom it is of.
type row struct {
	source string
	line   []byte
}

// refused is the answer of a store that will not take these rows however often they are sent.
type refused struct{ why string }

func (r refused) Error() string { return r.why }

// sender hands rows to the store, in requests that are bounded in rows and bytes.
type sender struct {
	url    string
	folder string // ca.pem and tls.pem (certificate and key), where the URL is https
	client *http.Client
	loaded time.Time // the newest of both files that the client was made of
	pause  time.Duration
}

func newSender(base, folder string) *sender {
	query := url.Values{"_stream_fields": {"service,level,kind"}, "_time_field": {"_time"}, "_msg_field": {"_msg"}}
	return &sender{url: base + "?" + query.Encode(), folder: folder, client: &http.Client{Timeout: answerIn}, pause: time.Second}
}

// deliver returns once all rows are accepted or counted as lost, or with the first error: then nobody knows which of the rest the
// store has.
func (s *sender) deliver(ctx context.Context, rows []row) error {
	for len(rows) > 0 {
		n := fits(rows)
		if err := s.accept(ctx, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// fits is how many of the rows make one request.
func fits(rows []row) int {
	size := 0
	for i, r := range rows {
		if size += len(r.line); i > 0 && (size > batchBytes || i == batchRows) {
			return i
		}
	}
	return len(rows)
}

// accept makes one request. One that is refused is divided until the row is found that is to blame.
func (s *sender) accept(ctx context.Context, rows []row) error {
	err := s.post(ctx, rows)
	var no refused
	switch {
	case err == nil:
		rowsAccepted.add(int64(len(rows)))
		lastAccepted.set(time.Now().Unix())
		return nil
	case errors.As(err, &no) && len(rows) == 1:
		lost.count(loss{source: rows[0].source, reason: "refused", bytes: int64(len(rows[0].line)), why: no.why})
		return nil
	case errors.As(err, &no):
		half := len(rows) / 2
		if err := s.accept(ctx, rows[:half]); err != nil {
			return err
		}
		return s.accept(ctx, rows[half:])
	}
	return err
}

func (s *sender) post(ctx context.Context, rows []row) error {
	if err := s.renew(); err != nil {
		return err
	}
	var body bytes.Buffer
	for _, r := range rows {
		body.Write(r.line)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, &body)
	if err != nil {
		return err
	}
	// With a form type VictoriaLogs drops every row and still answers 200.
	request.Header.Set("Content-Type", "application/stream+json")
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
	why := fmt.Sprintf("HTTP %d: %s", response.StatusCode, text)
	switch response.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return refused{why}
	}
	if response.StatusCode/100 != 2 {
		return errors.New(why)
	}
	return nil
}

// renew makes a new client where the certificate or the roots on the disk are newer than those of the present one.
func (s *sender) renew() error {
	if !strings.HasPrefix(s.url, "https:") {
		return nil
	}
	roots, own := filepath.Join(s.folder, "ca.pem"), filepath.Join(s.folder, "tls.pem")
	var newest time.Time
	for _, path := range []string{roots, own} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	if newest.Equal(s.loaded) {
		return nil
	}
	pem, err := os.ReadFile(roots)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s has no certificate", roots)
	}
	pair, err := tls.LoadX509KeyPair(own, own)
	if err != nil {
		return err
	}
	s.client.CloseIdleConnections()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	s.client, s.loaded = &http.Client{Timeout: answerIn, Transport: transport}, newest
	return nil
}
