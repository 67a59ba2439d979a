package redisstore_test

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/redisstore"
)

// A client of a cluster, of Sentinel's masters or of a Ring does as well. New
// doesn't connect, and a Redis that is down keeps no application from starting.
func ExampleNew() {
	rdb := redis.NewClient(&redis.Options{Addr: "redis.internal:6379"})
	defer rdb.Close()

	_, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID: "project-test-11111111-1111-4111-8111-111111111111",
		Secret:    "secret-test-11111111111111111111111111111111",
		Store:     redisstore.New(rdb, "myapp:"),
		// Legacy, Tickets: as without a Store
	})
	fmt.Println(err)
	// Output: <nil>
}
