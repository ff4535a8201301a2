package environment

import (
	"fmt"
	"strings"
)

// Switch reads a setting that is on or off, in any of the spellings that people and the libraries of other programs use.
func Switch(text string) (on bool, err error) {
	switch strings.ToLower(text) {
	case "true", "t", "yes", "1":
		return true, nil
	case "false", "f", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true (t, yes, 1) nor false (f, no, 0)", text)
}
