package main

import "openbank/topology"

type schemaCommand struct{}

func (schemaCommand) run(c console) error {
	_, err := c.out.Write(topology.JSONSchema())
	return err
}
