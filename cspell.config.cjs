'use strict';
// Spelling of what people read: documents, and the messages and comments of sources. British; the words
// of the field and of this project are those of docs/GLOSSARY.md, names are in tools/spelling/words.txt.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');

/** The words in the first column of the glossary's tables. */
function glossaryTerms() {
  const text = readFileSync(join(__dirname, 'docs', 'GLOSSARY.md'), 'utf8');
  const terms = [...text.matchAll(/^\| ([^|]+) \|/gm)].map(([, term]) => term);
  return [...new Set(terms.flatMap((term) => term.match(/[\p{L}\d]+/gu) ?? []))];
}

module.exports = {
  version: '0.2',
  language: 'en-GB',
  files: ['*.md', 'docs/*.md', 'src/**/*.ts', 'bin/*.cjs', 'assembly/*.ts'],
  ignorePaths: ['docs/API.md'], // its words are those of the docstrings
  words: glossaryTerms(),
  dictionaryDefinitions: [{ name: 'names', path: './tools/spelling/words.txt' }],
  dictionaries: ['names'],
  patterns: [
    {
      name: 'prose',
      pattern: [
        String.raw`/\/\*[\s\S]*?\*\/|\/\/.*/g`,
        String.raw`/'(?:[^'\\\n]|\\.)*'/g`,
        '/`[^`]*`/g',
      ],
    },
    {
      name: 'code',
      pattern: [
        String.raw`/^\`\`\`[\s\S]*?^\`\`\`/gm`,
        String.raw`/\`[^\`\n]+\`/g`,
        '/^ {4}.*$/gm',
        String.raw`/\]\([^)]*\)/g`,
      ],
    },
  ],
  overrides: [
    { filename: '**/*.{ts,cjs}', includeRegExpList: ['prose'] },
    { filename: '**/*.md', ignoreRegExpList: ['code'] },
  ],
};
