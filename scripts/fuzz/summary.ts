/** The results of all cases. */

import { type Route, routes } from './corpus.ts';
import type { CaseResult } from './result.ts';

interface FaultRow {
  readonly first: CaseResult;
  readonly detail: string;
  readonly cases: number[];
}

export class Summary {
  readonly #counts = new Map<Route, { accepted: number; refused: number; faulty: number }>();
  readonly #faults = new Map<string, FaultRow>();
  readonly #refusals = new Map<string, number>();
  #largestGrowth: CaseResult | null = null;
  #longest: CaseResult | null = null;
  #cases = 0;

  get cases(): number {
    return this.#cases;
  }

  get faulty(): boolean {
    return this.#faults.size > 0;
  }

  add(result: CaseResult): void {
    this.#cases++;
    const counts = this.#counts.get(result.route) ?? { accepted: 0, refused: 0, faulty: 0 };
    this.#counts.set(result.route, counts);
    if (result.faults.length > 0) counts.faulty++;
    else if (result.accepted) counts.accepted++;
    else counts.refused++;
    const refusal = `${result.route}: ${result.refusal}`;
    this.#refusals.set(refusal, (this.#refusals.get(refusal) ?? 0) + 1);
    for (const { kind, detail } of result.faults) {
      const row = this.#faults.get(kind);
      if (row === undefined)
        this.#faults.set(kind, { first: result, detail, cases: [result.number] });
      else if (row.cases.at(-1) !== result.number) row.cases.push(result.number);
    }
    if (result.growthBytes > (this.#largestGrowth?.growthBytes ?? 0)) this.#largestGrowth = result;
    if (result.ms > (this.#longest?.ms ?? 0)) this.#longest = result;
  }

  /** Refusals and their counts: they show which checks the cases reach, and how deep they get. */
  refusals(): string {
    const rows = [...this.#refusals].sort(([, a], [, b]) => b - a);
    return rows.map(([what, count]) => `${count} ${printable(what)}\n`).join('');
  }

  /** @param reproduce the command line that runs a case alone */
  text(reproduce: (number: number) => string): string {
    const lines: string[] = [];
    for (const [kind, { first, detail, cases }] of [...this.#faults].sort(byCases)) {
      lines.push(
        `FAULT ${kind}: ${cases.length} cases (${cases.slice(0, 5).join(', ')})`,
        `  ${first.route}/${first.input}: ${first.changes.join('; ')}`,
        ...detail
          .trimEnd()
          .split('\n')
          .slice(0, 8)
          .map((line) => `  | ${printable(line)}`),
        `  ${reproduce(first.number)}`,
      );
    }
    lines.push('route        accepted  refused  faulty');
    for (const route of routes) {
      const counts = this.#counts.get(route);
      if (counts === undefined) continue;
      const numbers = [counts.accepted, counts.refused, counts.faulty];
      const widths = [10, 9, 8];
      lines.push(
        route.padEnd(11) + numbers.map((n, i) => String(n).padStart(widths[i] ?? 0)).join(''),
      );
    }
    lines.push(
      `${this.#cases} cases, ${this.#faults.size} kinds of faults; ` +
        `largest growth ${mebibytes(this.#largestGrowth)} MiB (case ${this.#largestGrowth?.number}), ` +
        `longest case ${Math.round(this.#longest?.ms ?? 0)} ms (case ${this.#longest?.number})`,
    );
    return `${lines.join('\n')}\n`;
  }
}

const mebibytes = (result: CaseResult | null) => Math.round((result?.growthBytes ?? 0) / 2 ** 20);

const byCases = ([, a]: [string, FaultRow], [, b]: [string, FaultRow]) =>
  b.cases.length - a.cases.length;

const printable = (line: string) => line.replace(/\p{Cc}/gu, '?').slice(0, 400);
