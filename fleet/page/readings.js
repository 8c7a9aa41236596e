// Every motor quantity of one robot, as listed by the server: one row per quantity, one column per motor.

import { jointName, quantity } from "./format.js";

function make(name, className, parent, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  parent?.append(element);
  return element;
}

export class Readings {
  constructor(parent, robot) {
    this.details = make("details", "readings", parent);
    make("summary", "", this.details, "All readings");
    const table = make("table", "", make("div", "scroll", this.details));
    make("caption", "hidden", table, `All readings of ${robot}`);
    this.head = make("thead", "", table);
    this.body = make("tbody", "", table);
    this.shape = "";
    this.details.addEventListener("toggle", () => this.update());
  }

  show(motors, quantities) {
    this.motors = motors;
    this.quantities = quantities;
    if (this.details.open) this.update();
  }

  update() {
    if (!this.quantities) return;
    const shape = JSON.stringify([this.motors.map((motor) => motor.joint), this.quantities.map((one) => one.key)]);
    if (shape !== this.shape) this.build();
    this.shape = shape;
    this.quantities.forEach((one, row) => this.motors.forEach((motor, column) => {
      const text = quantity(motor[one.key], one);
      const cell = this.cells[row][column];
      if (cell.textContent !== text) cell.textContent = text;
    }));
  }

  build() {
    this.head.replaceChildren();
    this.body.replaceChildren();
    const top = make("tr", "", this.head);
    make("th", "", top, "Quantity").scope = "col";
    for (const motor of this.motors) make("th", "", top, jointName(motor.joint)).scope = "col";
    this.cells = this.quantities.map((one) => {
      const row = make("tr", "", this.body);
      row.dataset.key = one.key;
      make("th", "", row, one.description + (one.unit === "1" ? "" : ` [${one.unit}]`)).scope = "row";
      return this.motors.map(() => make("td", "", row));
    });
  }
}
