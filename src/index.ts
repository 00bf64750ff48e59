/** The library: exports what the command line uses, and nothing else. */

export {
  type ChatOptions,
  type ChatPromptOptions,
  type ChatResult,
  chat,
  chatPrompt,
} from './chat/chat.ts';
export { ChatTemplates, templatesInFile } from './chat/chat-templates.ts';
export type { ChatMessage, ChatTool, ContentPart, ToolCall } from './chat/messages.ts';
export { ChatTemplate, type RenderOptions, TemplateError } from './chat/template.ts';
export type { ActivationChange, Adaptation } from './convert/adaptation.ts';
export {
  type ConvertOptions,
  type ConvertReport,
  convertCheckpoint,
} from './convert/convert.ts';
export type { ConvertProgress } from './convert/model-writer.ts';
export type { DType, KvDType } from './dtype.ts';
export { documentsOf, splitDocuments } from './engine/documents.ts';
export { type EvaluateOptions, type EvaluateResult, evaluate } from './engine/evaluate.ts';
export {
  type FinishReason,
  type GenerateOptions,
  type GenerateResult,
  generate,
} from './engine/generate.ts';
export { Model } from './engine/model.ts';
export type { RunRequest } from './engine/run-request.ts';
export { Runtime } from './engine/runtime.ts';
export { greedy } from './engine/sampler.ts';
export type { SamplingOptions } from './engine/sampling-options.ts';
export { Sequence, type SequenceForward } from './engine/sequence.ts';
export type { Drafter } from './engine/speculation/draft.ts';
export {
  type DraftOptions,
  type DraftSource,
  draftHeadRows,
  type OpenDraft,
  openDraft,
  withDraft,
} from './engine/speculation/open-draft.ts';
export type { RetiredDraft } from './engine/speculation/retirement.ts';
export type { RunStats } from './engine/stats.ts';
export {
  BudgetError,
  type ErrorPlace,
  FlashError,
  InputError,
  InterruptedError,
  IoError,
} from './errors.ts';
export { ModelFiles } from './flash/model-files.ts';
export { type VerifyReport, verifyModel } from './flash/verify.ts';
export { examineOnHub, type HubModel, type HubRequest } from './hub/hub-model.ts';
export {
  type PullPlace,
  type PullProgress,
  type PullReport,
  type PullRequest,
  pullModel,
} from './hub/pull.ts';
export type { ModelSpec } from './models/spec.ts';
export type { ServerStats } from './serve/figures.ts';
export { ModelServer, type ServeOptions, serveBytes } from './serve/model-server.ts';
export type { EndToken } from './tokenizer/end-tokens.ts';
export { formatBytes, parseSize, type Size } from './units.ts';
export type {} from './webassembly-names.ts';
