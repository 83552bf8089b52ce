package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

const (
	scriptOffer = `{"link":"link-1","nonce":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","session_hash":"AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",` +
		`"person":"alice","browser":"Browser/1","address":"192.0.2.7","asked_at":"2026-11-22T10:00:00Z"}`
	scriptReply    = `{"reply":{"code":"ABCD-EFGH","url":"https://muster.example/link#one-time","expire_s":60}}`
	scriptStanding = `{"standing":{"server":"https://muster.example","device":"device-1","state":"active","profile":"corporate","asked":true,"fit":true}}`
)

// door PATH stands in for the running agent at its socket.
func door(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("unix", ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			fmt.Fprintln(c, scriptAnswer(line))
			_ = c.Close()
		}
	}()
}

func scriptAnswer(line string) string {
	var ask struct{ Op, Way string }
	if json.Unmarshal([]byte(line), &ask) != nil {
		return ""
	}
	switch ask.Op + " " + ask.Way {
	case "link ", "offers ":
		return `{"offers":[` + strings.Repeat(scriptOffer+",", map[string]int{"offers": 1}[ask.Op]) + scriptOffer + `]}`
	case "prove app", "prove code", "recover ":
		return scriptReply
	case "status ":
		return scriptStanding
	}
	return `{"declined":{"code":"request-form","text":"No.","fix":"Do not."}}`
}
