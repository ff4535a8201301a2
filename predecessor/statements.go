package predecessor

import (
	"fmt"
	"strings"
)

// SelectAccount is how the handler looks an account up. $1 is its IBAN.
func (l Layout) SelectAccount() string { return l.sql(`SELECT * FROM {balance} WHERE iban = $1`) }

// InsertAccount opens an account: $1 is its IBAN, $2 its token, $3 its type.
func (l Layout) InsertAccount() string {
	return l.sql(`INSERT INTO {balance} (iban, token, {type}) VALUES ($1, $2, $3)`)
}

// UpdateAmount is what every update of a balance comes to: $1 is the new amount, $2 the account's balance_id.
func (l Layout) UpdateAmount() string {
	return l.sql(`UPDATE {balance} SET amount = $1 WHERE balance_id = $2`)
}

// updateAccount is how the handler writes a balance back, $1 and so on being what the columns get and the last one balance_id. The Clojure
// handler sets all columns that its SELECT * gave it, whoever added them.
func (l Layout) updateAccount(columns []string) string {
	if !l.wholeRow {
		return l.UpdateAmount()
	}
	set := make([]string, len(columns))
	for i, c := range columns {
		set[i] = fmt.Sprintf("%s = $%d", c, i+1)
	}
	return l.sql(fmt.Sprintf(`UPDATE {balance} SET %s WHERE balance_id = $%d`, strings.Join(set, ", "), len(columns)+1))
}

// SelectCreation looks up what became of an account creation, by its id: iban, token, type and reason, NULL where they don't apply.
func (l Layout) SelectCreation() string {
	return l.sql(`SELECT iban, token, {type}, reason FROM {cac} WHERE uuid = $1`)
}

// InsertCreation keeps what became of an account creation: $1 is its id, then come iban, token, type and reason.
func (l Layout) InsertCreation() string {
	return l.sql(`INSERT INTO {cac} (uuid, iban, token, {type}, reason) VALUES ($1, $2, $3, $4, $5)`)
}

// SelectTransfer looks up what became of a transfer, by its id: the reason, NULL when it was confirmed.
func (l Layout) SelectTransfer() string { return l.sql(`SELECT reason FROM {cmt} WHERE uuid = $1`) }

// InsertTransfer keeps what became of a transfer: $1 is its id, $2 the reason.
func (l Layout) InsertTransfer() string {
	return l.sql(`INSERT INTO {cmt} (uuid, reason) VALUES ($1, $2)`)
}
