package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"openbank/bank"
)

// cells are a row as the driver made it, until the next one.
type cells struct{ values [16]driver.Value }

// eachRow calls row for every row, which scans it, and closes rows.
func eachRow(rows *sql.Rows, row func() error) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := row(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// query calls row for every row of a query.
func query(ctx context.Context, db querier, row func(scan func(into ...any) error) error, text string, args ...any) error {
	rows, err := db.QueryContext(ctx, text, args...) //nolint:sqlclosecheck // eachRow does it
	if err != nil {
		return err
	}
	return eachRow(rows, func() error { return row(rows.Scan) })
}

// querier is a database, a session or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// next reads the next row, of n columns. Error: io.EOF behind the last one.
func (c *cells) next(rows driver.Rows, n int) error { return rows.Next(c.values[:n]) }

// null tells whether a column is null. int and text give 0 and "" then.
func (c *cells) null(i int) bool { return c.values[i] == nil }

func (c *cells) int(i int) int64 {
	v, _ := c.values[i].(int64)
	return v
}

func (c *cells) text(i int) string {
	switch v := c.values[i].(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

func (c *cells) id(i int) (bank.ID, error) {
	id, err := bank.ParseID(c.text(i))
	if err != nil {
		return id, fmt.Errorf("reading a row's id: %w", err)
	}
	return id, nil
}

func (c *cells) origin(topic int) origin {
	return originAt(int32(c.int(topic)), int32(c.int(topic+1)), c.int(topic+2))
}
