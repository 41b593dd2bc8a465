package main

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

// The retry tests of the suite count on a reset that reaches the client as one.
func TestRelayPassesOnHowTheStreamEnded(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			client, err := server.Accept()
			if err != nil {
				return
			}
			word := make([]byte, 5)
			io.ReadFull(client, word)
			if string(word) == "reset" {
				reset(client.(*net.TCPConn))
				continue
			}
			rest, _ := io.ReadAll(client)
			client.Write([]byte(strings.ToUpper(string(word) + string(rest))))
			client.Close()
		}
	}()
	outside, err := freePort("tcp")
	if err != nil {
		t.Fatal(err)
	}
	if err := (relay{"tcp", outside, netip.MustParseAddrPort(server.Addr().String())}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := func(text string) (string, error) {
		connection, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(outside))
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		connection.Write([]byte(text))
		if text != "reset" {
			connection.CloseWrite()
		}
		answer, err := io.ReadAll(connection)
		return string(answer), err
	}
	if answer, err := ask("hello, world"); answer != "HELLO, WORLD" || err != nil {
		t.Errorf("got %q, %v", answer, err)
	}
	if _, err := ask("reset"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a reset came as %v", err)
	}
}
