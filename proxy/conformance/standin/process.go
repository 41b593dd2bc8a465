package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// startsWithin is how long an echo server may take until it answers.
const startsWithin = 20 * time.Second

// processes starts children from one thread that never ends: the kernel ends a child whose
// parent thread does.
type processes struct {
	echoProgram string
	starts      chan func()
}

func newProcesses(echoProgram string) *processes {
	p := &processes{echoProgram: echoProgram, starts: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for start := range p.starts {
			start()
		}
	}()
	return p
}

func (p *processes) start(command *exec.Cmd) error {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	result := make(chan error)
	p.starts <- func() { result <- command.Start() }
	return <-result
}

// A port that an echo server listens on, and the variable that tells it which.
type port struct {
	variable string
	preset   string
	network  string
	tls      bool
}

// ports are those of the server that the environment asks for.
func ports(env map[string]string) []port {
	certificate := env["TLS_SERVER_CERT"] != ""
	var all []port
	switch {
	case env["GRPC_ECHO_SERVER"] != "":
		certificate = certificate && env["TLS_SERVER_PRIV_KEY"] != ""
		all = []port{{"HTTP_PORT", "3000", "tcp", false}, {"HTTPS_PORT", "8443", "tcp", true}}
	case env["TCP_ECHO_SERVER"] != "":
		certificate = certificate && env["TLS_SERVER_PRIV_KEY"] != ""
		all = []port{{"TCP_PORT", "3000", "tcp", false}, {"TLS_PORT", "8443", "tcp", true}}
	case env["UDP_ECHO_SERVER"] != "":
		all = []port{{"UDP_PORT", "8080", "udp", false}}
	default:
		certificate = certificate && env["TLS_SERVER_PRIVKEY"] != ""
		all = []port{{"HTTP_PORT", "3000", "tcp", false}, {"H2C_PORT", "3001", "tcp", false}, {"HTTPS_PORT", "8443", "tcp", true}}
	}
	if certificate {
		return all
	}
	var plain []port
	for _, one := range all {
		if !one.tls {
			plain = append(plain, one)
		}
	}
	return plain
}

// echo runs an echo server that answers on the ports of address which env asks for, until it ends
// or ctx does. The server binds every address of the host, so it gets free ports, and relays
// bring the Pod's own there.
func (p *processes) echo(ctx context.Context, address netip.Addr, env map[string]string, logs *logs, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var relays []relay
	variables := map[string]string{}
	for name, value := range env {
		variables[name] = value
	}
	for _, port := range ports(env) {
		number := env[port.variable]
		if number == "" {
			number = port.preset
		}
		outside, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return fmt.Errorf("%s: %w", port.variable, err)
		}
		inside, err := freePort(port.network)
		if err != nil {
			return err
		}
		variables[port.variable] = strconv.Itoa(int(inside.Port()))
		relays = append(relays, relay{port.network, netip.AddrPortFrom(address, uint16(outside)), inside})
	}

	command := exec.CommandContext(ctx, p.echoProgram)
	command.Env = []string{}
	for name, value := range variables {
		command.Env = append(command.Env, name+"="+value)
	}
	reader, writer := io.Pipe()
	command.Stdout, command.Stderr = writer, writer
	go func() {
		lines := bufio.NewScanner(reader)
		for lines.Scan() {
			logs.write(lines.Text())
		}
		io.Copy(io.Discard, reader)
	}()
	if err := p.start(command); err != nil {
		return fmt.Errorf("start %s: %w", p.echoProgram, err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- command.Wait()
		writer.Close()
	}()

	listening := make(chan error, 1)
	go func() { listening <- waitAnswer(ctx, relays) }()
	select {
	case err := <-ended:
		return fmt.Errorf("the echo server ended: %w", errors.Join(errors.New("it has to run"), err))
	case err := <-listening:
		if err != nil {
			cancel()
			<-ended
			return err
		}
	}
	for _, relay := range relays {
		if err := relay.run(ctx); err != nil {
			cancel()
			<-ended
			return err
		}
	}
	ready()
	return fmt.Errorf("the echo server ended: %w", errors.Join(errors.New("it has to run"), <-ended))
}

// waitAnswer returns once the TCP ports are listened on.
func waitAnswer(ctx context.Context, relays []relay) error {
	begun := time.Now()
	for _, relay := range relays {
		if relay.network != "tcp" {
			continue
		}
		for {
			connection, err := net.DialTimeout("tcp", relay.inside.String(), time.Second)
			if err == nil {
				connection.Close()
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if time.Since(begun) > startsWithin {
				return fmt.Errorf("the echo server does not answer: %w", err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return nil
}

func freePort(network string) (netip.AddrPort, error) {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if network == "udp" {
		socket, err := net.ListenUDP("udp", &net.UDPAddr{})
		if err != nil {
			return netip.AddrPort{}, err
		}
		defer socket.Close()
		return netip.AddrPortFrom(loopback, socket.LocalAddr().(*net.UDPAddr).AddrPort().Port()), nil
	}
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer listener.Close()
	return netip.AddrPortFrom(loopback, listener.Addr().(*net.TCPAddr).AddrPort().Port()), nil
}
