package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkTable is the table of the command, for benchstat:
//
//	go test -run '^$' -bench . -count 6 . | tee new.txt
func BenchmarkTable(b *testing.B) {
	w, scenarios := start(b, 1024)
	for i := range scenarios {
		for _, r := range scenarios[i].rows(w.tape) {
			b.Run(scenarios[i].name+"/"+r.name, func(b *testing.B) { require.NoError(b, r.bench(b)) })
		}
	}
}
