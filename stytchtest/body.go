package stytchtest

import (
	"compress/gzip"
	"context"
	"io"
)

// pipeBody is the client's end of a call in process. Closing it before its end
// is what the server sees as a client that has left.
type pipeBody struct {
	*io.PipeReader
	left context.CancelFunc
}

func (b *pipeBody) Close() error {
	b.left()
	return b.PipeReader.Close()
}

// gzipBody unpacks a body as it is read. One goroutine reads it.
type gzipBody struct {
	packed io.ReadCloser
	reader *gzip.Reader // nil until the first Read
	err    error
}

func (b *gzipBody) Read(p []byte) (int, error) {
	if b.reader == nil && b.err == nil {
		b.reader, b.err = gzip.NewReader(b.packed) // waits for the first bytes
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.reader.Read(p)
}

func (b *gzipBody) Close() error { return b.packed.Close() }
