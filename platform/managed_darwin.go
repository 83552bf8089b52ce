package platform

import (
	"errors"
	"fmt"
	"io/fs"
)

func managedSettings() ([]Layer, error) {
	data, err := readTrusted(darwinManaged, checkSystemOwned)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	object, err := plistObject(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", darwinManaged, err)
	}
	return []Layer{{Origin: darwinManaged, JSON: object}}, nil
}
