//go:build race

package fault

// raceDetector says that the tests run with it, and the handlers then do too.
const raceDetector = true
