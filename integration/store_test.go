package integration

import "errors"

var errStoreDown = errors.New("connection refused")
