package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// idle is how long a relayed UDP client is remembered.
const idle = time.Minute

// A relay brings what comes to a Pod's address to its server, and the answers back.
type relay struct {
	network string
	outside netip.AddrPort
	inside  netip.AddrPort
}

// run listens when it returns, until ctx ends.
func (r relay) run(ctx context.Context) error {
	if r.network == "udp" {
		socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(r.outside))
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { socket.Close() })
		go r.datagrams(ctx, socket)
		return nil
	}
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(r.outside))
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	go func() {
		for {
			client, err := listener.AcceptTCP()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				log.Printf("accept on %s: %v", r.outside, err)
				time.Sleep(10 * time.Millisecond)
				continue
			}
			go r.connection(ctx, client)
		}
	}()
	return nil
}

func (r relay) connection(ctx context.Context, client *net.TCPConn) {
	server, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(r.inside))
	if err != nil {
		reset(client)
		return
	}
	stop := context.AfterFunc(ctx, func() {
		reset(client)
		reset(server)
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { pipe(server, client) })
	both.Go(func() { pipe(client, server) })
	both.Wait()
	client.Close()
	server.Close()
}

// pipe passes on how the stream ended too: in order, or cut.
func pipe(to, from *net.TCPConn) {
	_, err := io.Copy(to, from)
	switch {
	case err == nil:
		to.CloseWrite()
	case errors.Is(err, net.ErrClosed):
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		reset(to)
		reset(from)
	default:
		to.Close()
		from.Close()
	}
}

func reset(connection *net.TCPConn) {
	connection.SetLinger(0)
	connection.Close()
}

func (r relay) datagrams(ctx context.Context, socket *net.UDPConn) {
	var mutex sync.Mutex
	servers := map[netip.AddrPort]*net.UDPConn{}
	buffer := make([]byte, 1<<16)
	for {
		count, client, err := socket.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		mutex.Lock()
		server := servers[client]
		mutex.Unlock()
		if server == nil {
			if server, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.inside)); err != nil {
				continue
			}
			mutex.Lock()
			servers[client] = server
			mutex.Unlock()
			stop := context.AfterFunc(ctx, func() { server.Close() })
			go func() {
				defer stop()
				answers(socket, server, client)
				mutex.Lock()
				delete(servers, client)
				mutex.Unlock()
				server.Close()
			}()
		}
		server.SetReadDeadline(time.Now().Add(idle))
		server.Write(buffer[:count])
	}
}

func answers(socket, server *net.UDPConn, client netip.AddrPort) {
	buffer := make([]byte, 1<<16)
	for {
		count, err := server.Read(buffer)
		if err != nil {
			return
		}
		socket.WriteToUDPAddrPort(buffer[:count], client)
	}
}
