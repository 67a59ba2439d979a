package stytchmigrate

import (
	"context"
	"time"
)

// Store is a memory that several machines share, so that a legacy session
// becomes one Stytch session however many of them meet it, and a logout on one
// holds on all. Without one each process remembers for itself. Module redisstore
// has one for Redis and Valkey; package storetest has the tests that any other
// has to pass.
//
// A key has at most one value and at most one claim. Keys are printable ASCII of
// at most 100 bytes, in which any of it may occur, and case counts; values are sealed, and of a few KB. Every method is called
// by many goroutines at once, has to return soon after its context is done, and
// tells an error from an answer: "I can't tell" must never read as "there is
// none". Of an error only its type is logged, and what the operating system says:
// log the rest in the Store. A Store that fails, panics or hangs costs one exchange per process and
// loses nobody.
type Store interface {
	// Get returns the value of key. found is false, and err nil, where there is
	// none or its time is over. A claim is no value, and hides none.
	Get(ctx context.Context, key string) (value []byte, found bool, err error)

	// Claim gives owner the claim on key for the time of lease, if nobody else
	// has it, and says whether owner has it now. Where owner has it already it is
	// renewed. Of two that ask at the same time one gets it. It is no matter
	// whether there is a value. A claim whose lease is over is nobody's.
	Claim(ctx context.Context, key, owner string, lease time.Duration) (claimed bool, err error)

	// Put sets the value of key for the time of ttl, and takes the claim on key
	// away, in one step. With an owner it does so only if that owner has the claim
	// at this moment, else it changes nothing and returns false: a claim that was
	// lost loses its Put. With owner "" it always does, whoever has the claim.
	Put(ctx context.Context, key, owner string, value []byte, ttl time.Duration) (stored bool, err error)

	// Release gives the claim on key back, if owner has it. Else it does nothing,
	// and that is no error.
	Release(ctx context.Context, key, owner string) error
}
