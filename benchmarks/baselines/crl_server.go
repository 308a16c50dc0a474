// Answers the questions that process.py describes with Go's crypto/x509.
package main

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// server holds what has been loaded. A serial's key is its magnitude, without
// leading zeros.
type server struct {
	serials map[string]struct{}
	queries []string
}

func main() {
	state := &server{}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		answer, err := state.answer(strings.Fields(input.Text()))
		if err != nil {
			fmt.Println("error", err)
		} else {
			fmt.Println("ok", answer)
		}
	}
}

func (s *server) answer(words []string) (int, error) {
	switch words[0] {
	case "load":
		return 0, s.load(words[1], words[2])
	case "queries":
		return s.readQueries(words[1], words[2])
	case "lookup":
		return s.lookup(), nil
	case "memory":
		return memory(), nil
	}
	return 0, fmt.Errorf("no question: %s", words[0])
}

func (s *server) load(crlPath, certificatePath string) error {
	s.serials = nil
	encoded, err := os.ReadFile(crlPath)
	if err != nil {
		return err
	}
	crl, err := x509.ParseRevocationList(encoded)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(certificatePath)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	issuer, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	if err := crl.CheckSignatureFrom(issuer); err != nil {
		return err
	}
	// The field's successor came with Go 1.21; both are filled.
	s.serials = make(map[string]struct{}, len(crl.RevokedCertificates))
	for _, entry := range crl.RevokedCertificates {
		s.serials[string(entry.SerialNumber.Bytes())] = struct{}{}
	}
	return nil
}

func (s *server) readQueries(path, widthText string) (int, error) {
	width, err := strconv.Atoi(widthText)
	if err != nil {
		return 0, err
	}
	rows, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	s.queries = make([]string, 0, len(rows)/width)
	for ; len(rows) > 0; rows = rows[width:] {
		s.queries = append(s.queries, string(bytes.TrimLeft(rows[:width], "\x00")))
	}
	return len(s.queries), nil
}

func (s *server) lookup() int {
	hits := 0
	for _, query := range s.queries {
		if _, found := s.serials[query]; found {
			hits++
		}
	}
	return hits
}

func memory() int {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}
