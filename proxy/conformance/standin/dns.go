package main

import (
	"context"
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// answerDNS answers every question with who asked, as CoreDNS does with its whoami plugin.
func answerDNS(ctx context.Context, address netip.AddrPort, logs *logs, ready func()) error {
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(address))
	if err != nil {
		return err
	}
	handler := dns.HandlerFunc(func(writer dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(question)
		answer.Authoritative = true
		if len(question.Question) == 1 {
			name := question.Question[0].Name
			logs.write(name + " from " + writer.RemoteAddr().String())
			if client, err := netip.ParseAddrPort(writer.RemoteAddr().String()); err == nil {
				answer.Extra = whoami(name, client)
			}
		}
		writer.WriteMsg(answer)
	})
	server := &dns.Server{PacketConn: socket, Handler: handler, NotifyStartedFunc: ready}
	context.AfterFunc(ctx, func() { socket.Close() })
	return server.ActivateAndServe()
}

func whoami(name string, client netip.AddrPort) []dns.RR {
	var address dns.RR
	ip := client.Addr().Unmap()
	if ip.Is4() {
		address = &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: ip.AsSlice()}
	} else {
		address = &dns.AAAA{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeAAAA, Class: dns.ClassINET}, AAAA: ip.AsSlice()}
	}

	return []dns.RR{address, &dns.SRV{
		Hdr:  dns.RR_Header{Name: "_udp." + name, Rrtype: dns.TypeSRV, Class: dns.ClassINET},
		Port: client.Port(), Target: ".",
	}}
}
