// Command bench measures stytchmigrate beside what else there is for Go to tell
// whose a request is: the same token, in the same request, into the same recorder,
// one after the other in one process. See README.md for what each number holds.
//
//	go run .               # three minutes
//	go run . -short        # twenty seconds, to see that it works
//	go run . -o README.md  # and puts the table there
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

func main() {
	testing.Init()
	short := flag.Bool("short", false, "few and short rounds")
	rounds := flag.Int("rounds", 5, "how often each number is measured; the median counts")
	each := flag.Duration("time", 60*time.Millisecond, "how long one of them is measured")
	rubbish := flag.Int("rubbish", 0, "measure the memory after so many distinct tokens that Stytch does not know")
	into := flag.String("o", "", "replace the part between the markers of this file by what is printed")
	flag.Parse()
	o := options{rounds: *rounds, each: *each, pool: 1024, sessions: 100_000, load: 5 * time.Second, rubbish: *rubbish}
	if *short {
		o.rounds, o.each, o.pool, o.sessions, o.load = 1, 10*time.Millisecond, 256, 5_000, time.Second
	}
	var out bytes.Buffer
	err := run(context.Background(), &out, o)
	if err == nil && *into != "" {
		err = paste(*into, out.Bytes())
	}
	os.Stdout.Write(out.Bytes())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type options struct {
	rounds   int
	each     time.Duration
	pool     int           // distinct cookies of a kind
	sessions int           // whose memory is measured
	load     time.Duration // of migrations at a steady rate
	rubbish  int
}

func run(ctx context.Context, out *bytes.Buffer, o options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := newWorld(o.pool)
	if err != nil {
		return err
	}
	defer w.stytch.Close()
	scenarios, err := w.scenarios(ctx)
	if err != nil {
		return err
	}
	if err := flag.Set("test.benchtime", o.each.String()); err != nil {
		return err
	}
	tables, err := w.measure(scenarios, o.rounds)
	if err != nil {
		return err
	}
	machine(out, o)
	print(out, tables)
	return w.scale(out, tables, o)
}
