/** Where the fixtures are. */

import { fileURLToPath } from 'node:url';

const at = (path: string) => fileURLToPath(new URL(`../../fixtures/${path}`, import.meta.url));

/** A trained OPT, as float16 safetensors. */
export const storiesOpt = at('stories-opt');
/** The same as torch.save wrote it, with vocab.json and merges.txt only. */
export const storiesOptBin = at('stories-opt-bin');
export const references = at('reference');
export const validText = at('text/valid.txt');
export const calibText = at('text/calib.txt');
/** A tiny random checkpoint of a family or a variant of one, as transformers wrote it. */
export const familyFixture = (name: string) => at(`families/${name}`);
/** Anything in the folder of fixtures, by its path there. */
export const fixture = at;
/** A LoRA adapter that PEFT wrote, and what it makes of its base by merging. */
export const loraFixture = (name: string) => at(`lora/${name}`);
/** Files written by the `gguf` package, and what they must read as. */
export const ggufFixtures = at('gguf');
/** Folders there that hold a checkpoint and the GGUF made from it. */
export const ggufCheckpoints = [
  'llama',
  'llama-scaled',
  'arcee',
  'qwen2',
  'qwen3',
  'nemotron',
  'phi2',
  'falcon',
  'falcon-grouped',
];
