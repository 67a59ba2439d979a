// Package browser tests, in a real Chromium, what only a browser can tell: which
// cookies it keeps and sends, what it shows, and what is done with both. It has no
// API.
//
// The tests are skipped where there is no chromium, and what needs a package of
// npm where `npm ci` was not run here. With STYTCHMIGRATE_CHROMIUM=required they
// fail instead. They write what they saw to the folder that
// STYTCHMIGRATE_SCREENSHOTS names, if it is set.
package browser
