package environment

import (
	"fmt"
	"strings"
)

// CheckEnds are the faults of users and passwords that begin or end with a line break: variable, value, variable, value.
func CheckEnds(pairs ...string) (faults []error) {
	for i := 0; i < len(pairs); i += 2 {
		if err := checkEnds(pairs[i]+" (--"+strings.ToLower(strings.ReplaceAll(pairs[i], "_", "-"))+")", pairs[i+1]); err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}

// checkEnds refuses a user, a password or a URL that begins or ends with a line break: it was taken with the line end of the file that it stood
// in, and would be refused later, where nobody sees why. The error doesn't repeat the value.
func checkEnds(setting, value string) error {
	if strings.Trim(value, "\r\n") != value {
		return fmt.Errorf("%s begins or ends with a line break, which belongs to the file that it was read from: set it without", setting)
	}
	return nil
}
