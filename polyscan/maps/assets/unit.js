// The unit page.
