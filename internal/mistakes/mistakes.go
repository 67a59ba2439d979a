// Package mistakes finds the common mistakes of a configuration in what browsers send. A
// verdict comes once. It must not come where nothing is wrong, so that each rule waits for
// evidence that has no other explanation.
package mistakes
