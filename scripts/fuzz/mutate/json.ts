/** JSON with other values, keys and shapes than its reader expects; still JSON, most of the time. */

import type { Dice } from '../../../test/support/random.ts';
import { hostileJson, hostileNumbers, hostileTexts } from '../hostile-values.ts';
import {
  formatDocument,
  type JsonNode,
  type JsonPlace,
  leaf,
  nodeOf,
  parseDocument,
  placesIn,
} from '../json-document.ts';
import { type Donors, type Mutation, short } from './mutation.ts';

/** Readers use numbers to count, allocate and seek. */
const isNumber = ({ node }: JsonPlace) => node.kind === 'leaf' && /^-?\d/.test(node.text);

/** A random place in the tree: every level of nesting is equally likely, however many nodes it has. */
function choosePlace(root: JsonNode, dice: Dice): JsonPlace | null {
  let found: JsonPlace | null = null;
  let node = root;
  let path = '';
  for (;;) {
    const places = placesIn(node, path);
    if (places.length === 0 || (found !== null && dice.chance(0.3))) return found;
    const numbers = places.filter(isNumber);
    found = dice.pick(numbers.length > 0 && dice.chance(0.3) ? numbers : places);
    ({ node, path } = found);
  }
}

/** A strange value, or at least a different one. */
function hostileNode(dice: Dice): JsonNode {
  const kind = dice.next();
  if (kind < 0.45) return leaf(dice.pick(hostileNumbers));
  if (kind < 0.75) return leaf(JSON.stringify(dice.pick(hostileTexts)));
  return leaf(dice.pick(hostileJson));
}

type Change = (place: JsonPlace, root: JsonNode, dice: Dice, donors: Donors) => string;

const replace: Change = (place, _root, dice) => {
  const node = hostileNode(dice);
  place.replace(node);
  return `= ${short(formatDocument(node))}`;
};

/** A number close to the present one. */
const shift: Change = (place, root, dice, donors) => {
  const value = place.node.kind === 'leaf' ? Number(place.node.text) : Number.NaN;
  if (!Number.isFinite(value)) return replace(place, root, dice, donors);
  const near = [
    ...[value + 1, value - 1, 2 * value, value / 2, -value, value + 0.5, 0],
    ...[value * 1000, value * 1e6, 2 ** 31 - 1],
  ];
  const text = JSON.stringify(dice.pick(near)) ?? 'null';
  place.replace(leaf(text));
  return `= ${text}`;
};

const remove: Change = (place) => {
  place.remove();
  return 'is gone';
};

const rename: Change = (place, _root, dice) => {
  const name = dice.pick(hostileTexts);
  place.rename(name);
  return `is called ${short(name)}`;
};

const addKey: Change = (place, _root, dice) => {
  const name = dice.pick(hostileTexts);
  const target = place.node;
  if (target.kind === 'map') target.entries.push([name, hostileNode(dice)]);
  else if (target.kind === 'list') target.items.push(hostileNode(dice));
  else place.addBeside(hostileNode(dice));
  return `has more: ${short(name)}`;
};

const double: Change = (place, _root, dice) => {
  place.addBeside(dice.chance(0.5) ? place.node : hostileNode(dice));
  return 'occurs twice';
};

/** Two nodes change places. */
const swap: Change = (place, root, dice) => {
  const other = choosePlace(root, dice);
  const { node } = place;
  // If one contains the other, this would make a cycle.
  if (other === null || contains(node, other.node) || contains(other.node, node)) return 'stays';
  place.replace(other.node);
  other.replace(node);
  return `takes what ${other.path} is`;
};

function contains(tree: JsonNode, node: JsonNode): boolean {
  return tree === node || placesIn(tree).some((place) => contains(place.node, node));
}

const wrap: Change = (place, _root, dice) => {
  const { node } = place;
  place.replace(
    dice.chance(0.5) ? { kind: 'list', items: [node] } : { kind: 'map', entries: [['a', node]] },
  );
  return 'is wrapped';
};

/** The elements of a list, repeated many times. */
const grow: Change = (place, root, dice, donors) => {
  const { node } = place;
  if (node.kind !== 'list' || node.items.length === 0) return replace(place, root, dice, donors);
  const more = Array.from({ length: dice.pick([1, 10, 500]) }, () => dice.pick(node.items));
  node.items.push(...more);
  return `has ${more.length} more`;
};

/** One more key, taken from another file, that this one does not have. */
const graft: Change = (place, root, dice, donors) => {
  if (root.kind !== 'map' || donors.length === 0) return replace(place, root, dice, donors);
  const donor = nodeOf(JSON.parse(dice.pick(donors).toString()));
  if (donor.kind !== 'map' || donor.entries.length === 0) return 'stays';
  const [key, value] = dice.pick(donor.entries);
  const grafted = dice.chance(0.7) ? value : hostileNode(dice);
  const at = root.entries.findIndex(([name]) => name === key);
  if (at < 0) root.entries.push([key, grafted]);
  else root.entries[at] = [key, grafted];
  return `beside it ${key} = ${short(formatDocument(grafted))}`;
};

/** A text with a strange piece in it. */
const taint: Change = (place, root, dice, donors) => {
  const value: unknown = place.node.kind === 'leaf' ? safeParse(place.node.text) : null;
  if (typeof value !== 'string') return replace(place, root, dice, donors);
  const at = dice.between(0, value.length);
  const text = value.slice(0, at) + dice.pick(hostileTexts) + value.slice(at);
  place.replace(leaf(JSON.stringify(text)));
  return `= ${short(text)}`;
};

function safeParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const changes: readonly Change[] = [
  ...[replace, replace, replace, shift, shift, remove, rename, addKey, double],
  ...[swap, wrap, grow, graft, graft, taint],
];

/** Changes the tree at `root`; returns a description of the change. */
export function mutateTree(root: JsonNode, dice: Dice, donors: Donors): string | null {
  const place = choosePlace(root, dice);
  if (place === null) return null;
  const { path } = place;
  return `${short(path)} ${dice.pick(changes)(place, root, dice, donors)}`;
}

/**
 * A JSON file with one change.
 * @throws SyntaxError if it is no longer JSON; RangeError if it nests too deep for us
 */
export function mutateJson(bytes: Buffer, dice: Dice, donors: Donors): Mutation | null {
  const root = parseDocument(bytes.toString());
  if (dice.chance(0.03)) {
    const text = dice.pick(hostileJson);
    return { bytes: Buffer.from(text), what: `the whole is ${short(text)}` };
  }
  const what = mutateTree(root, dice, donors);
  if (what === null) return null;
  const mark = dice.chance(0.02) ? '\ufeff' : '';
  return { bytes: Buffer.from(mark + formatDocument(root)), what };
}
