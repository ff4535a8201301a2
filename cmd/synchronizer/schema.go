package main

import "openbank/topology"

type schemaCommand struct{}

func (schemaCommand) run(c console) error {
	_, err := c.out.Write(topology.JSONSchema())
	return err
}

type defaultCommand struct{}

func (defaultCommand) run(c console) error {
	_, err := c.out.Write(topology.DefaultText())
	return err
}
