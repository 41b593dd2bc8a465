// The bridge command brings connections from one socket to another, also across network
// namespaces: Unix sockets are in none.
//
//	bridge LISTEN DIAL        where each is tcp:ADDRESS:PORT or unix:PATH
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
)

type halfCloser interface{ CloseWrite() error }

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: bridge LISTEN DIAL, each tcp:ADDRESS:PORT or unix:PATH")
		os.Exit(2)
	}
	network, address, _ := strings.Cut(os.Args[1], ":")
	listener, err := net.Listen(network, address)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bridge:", err)
		os.Exit(1)
	}
	network, address, _ = strings.Cut(os.Args[2], ":")
	for {
		client, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "bridge:", err)
			os.Exit(1)
		}
		go func() {
			defer client.Close()
			server, err := net.Dial(network, address)
			if err != nil {
				fmt.Fprintln(os.Stderr, "bridge:", err)
				return
			}
			defer server.Close()
			var both sync.WaitGroup
			both.Go(func() { pass(server, client) })
			both.Go(func() { pass(client, server) })
			both.Wait()
		}()
	}
}

func pass(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return
	}
	to.(halfCloser).CloseWrite()
}
