package platform

func managedSettings() ([]Layer, error) { return managedDir(linuxManaged, checkSystemOwned) }
