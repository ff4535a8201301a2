package environment

import (
	"fmt"
	"strings"
)

// CheckEnds refuses a user, a password or a URL that begins or ends with a line break: it was taken with the line end of the file that it stood
// in, and would be refused later, where nobody sees why. The error doesn't repeat the value.
func CheckEnds(setting, value string) error {
	if strings.Trim(value, "\r\n") != value {
		return fmt.Errorf("%s begins or ends with a line break, which belongs to the file that it was read from: set it without", setting)
	}
	return nil
}
