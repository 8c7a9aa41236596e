// The robots that do not follow although they should, have faults or are silent, most severe first, as links to their cards.

const SHOWN = 12;
const TEXTS = 3;

function make(name, parent, text) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  parent?.append(element);
  return element;
}

function line(robot) {
  const item = make("li");
  item.dataset.severity = robot.severity;
  const link = make("a", item, robot.name);
  link.href = "#" + robot.element.id;
  const texts = robot.problems;
  const more = texts.length - TEXTS;
  make("span", item, texts.slice(0, TEXTS).join("; ") + (more > 0 ? `; ${more} more` : ""));
  return item;
}

export function showAttention(section, robots) {
  const found = [...robots].filter((robot) => robot.problems.length);
  found.sort((a, b) => a.severity - b.severity || a.name.localeCompare(b.name));
  // Rebuilding the list would take the keyboard's focus away.
  const shape = JSON.stringify(found.map((robot) => [robot.element.id, robot.severity, robot.problems]));
  if (section.shape === shape) return;
  section.shape = shape;
  section.hidden = !found.length;
  const focused = document.activeElement?.hash;
  const list = make("ul");
  list.append(...found.slice(0, SHOWN).map(line));
  if (found.length > SHOWN) make("li", list, `and ${found.length - SHOWN} more`);
  section.replaceChildren(make("h2", null, "Need attention"), list);
  if (focused) section.querySelector(`a[href="${focused}"]`)?.focus();
}
