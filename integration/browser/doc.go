// Package browser tests, in real browsers, what only a browser can tell: which
// cookies it keeps and sends, what it shows, and what is done with both. It has no
// API.
//
// There are three engines: Chromium, Firefox, and WebKit, which is Safari's. The tests
// of cookies, of roads over several pages and of the example run in each, through one
// interface (driver). What engines do differently is in their habits, or a row of the
// test says so. The tests of Stytch's SDK and of the status page run in Chromium.
//
// Tests are skipped where a browser is missing (chromium, firefox-esr, or WebKitWebDriver
// with Xvfb), and what needs a package of npm where `npm ci` was not run here. With
// STYTCHMIGRATE_CHROMIUM=required, STYTCHMIGRATE_FIREFOX=required and
// STYTCHMIGRATE_WEBKIT=required they fail instead. The tests write what they saw to the
// folder that STYTCHMIGRATE_SCREENSHOTS names, if it is set.
package browser
