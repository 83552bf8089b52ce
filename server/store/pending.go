package store

// PendingAtLeast tells whether so many devices wait for an approval; it reads no
// more rows than that.
func (t *Tx) PendingAtLeast(n int) (full bool, err error) {
	var found int
	err = t.first([]any{&found}, "SELECT count(*) FROM (SELECT 1 FROM devices WHERE state = 'pending' LIMIT ?)", n)
	return found >= n, err
}
