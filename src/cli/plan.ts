import { Command } from 'commander';
import type { MemoryPlan } from '../memory/plan.ts';
import { formatBytes, type Size } from '../units.ts';
import { budgetOption, countArgument, jsonOption } from './options.ts';
import { chooseBudget, withModel } from './run.ts';
import { print, printJson, table } from './terminal.ts';

interface PlanFlags {
  readonly dramBudget?: Size;
  readonly context: number;
  readonly json?: boolean;
}

export function planCommand(): Command {
  return new Command('plan')
    .description('say what a budget would be spent on, without loading anything')
    .argument('<model>', 'model directory')
    .addOption(budgetOption('memory for the whole process; default: what the machine can give'))
    .option('--context <n>', 'positions, prompt and generated tokens together', countArgument, 512)
    .addOption(jsonOption())
    .action(run);
}

async function run(dir: string, flags: PlanFlags): Promise<void> {
  await withModel(dir, async (model) => {
    const context = Math.max(1, Math.min(flags.context, model.manifest.spec.maxPositions));
    const plan = model.plan({ budget: chooseBudget(model, flags.dramBudget), context });
    if (flags.json) printJson(toJson(plan, model.weightBytes));
    else print(describe(plan, model.weightBytes));
  });
}

function toJson(plan: MemoryPlan, weightBytes: number) {
  return {
    dramBudget: plan.dramBudget,
    weightBytes,
    context: plan.context,
    chunk: plan.chunk,
    items: plan.items,
    usedBytesPerToken: plan.usedBytes,
    flashBytesPerToken: plan.streamedBytes,
    fitsWhole: plan.fitsWhole,
  };
}

function describe(plan: MemoryPlan, weightBytes: number): string {
  const total = plan.items.reduce((sum, { bytes }) => sum + bytes, 0);
  const rows = [...plan.items, { name: 'in all', bytes: total }].map(({ name, bytes }) => [
    name,
    formatBytes(bytes),
  ]);
  const verdict =
    plan.streamedBytes === 0
      ? 'The weights that every token uses fit; nothing is streamed.'
      : `Each token reads ${formatBytes(plan.streamedBytes)} of ${formatBytes(plan.usedBytes)} from flash.`;
  return `${table(['item', 'bytes'], rows)}\nWeights: ${formatBytes(weightBytes)}. Budget: ${formatBytes(plan.dramBudget)}.\n${verdict}\n`;
}
