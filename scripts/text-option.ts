/** An option of `parseArgs` with this text as its default. */
export const text = (value: string) => ({ type: 'string', default: value }) as const;
