// Package browser tests, in real browsers, what only a browser can tell: which
// cookies it keeps and sends, what it shows, and what is done with both. It has no
// API.
//
// There are three engines: Chromium, Firefox, and WebKit, which is Safari's. The tests
// of cookies run in each, through one interface (driver). What engines do differently
// is in their habits, or a row of the test says so. The tests of Stytch's SDK and of
// the status page run in Chromium.
//
// Tests are skipped where chromium is missing, and what needs a package of npm where
// `npm ci` was not run here. With STYTCHMIGRATE_CHROMIUM=required they fail instead.
// Firefox (firefox-esr) and WebKit (WebKitWebDriver and Xvfb) run with
// STYTCHMIGRATE_FIREFOX=required and STYTCHMIGRATE_WEBKIT=required. The tests write what they saw to the
// folder that STYTCHMIGRATE_SCREENSHOTS names, if it is set.
package browser
