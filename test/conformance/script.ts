/** The container format of the conformance files (FORMAT.md section 1). */

export interface Argument {
  readonly key: string;
  /** None for a bare argument. */
  readonly values: readonly string[];
}

export interface Directive {
  /** 1-based line of the directive. */
  readonly line: number;
  readonly command: string;
  readonly args: readonly Argument[];
  readonly input: string;
  /** Empty, or lines that each end with a newline. */
  readonly expected: string;
}

const separator = '----';

/** Reads a whole file; throws on what the format does not allow. */
export function parseScript(text: string): Directive[] {
  const lines = new Lines(text);
  const directives: Directive[] = [];
  for (;;) {
    const directive = readDirective(lines);
    if (directive === null) return directives;
    directives.push(directive);
  }
}

class Lines {
  private readonly lines: readonly string[];
  private at = 0;

  constructor(text: string) {
    this.lines = (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n');
  }

  get number(): number {
    return this.at;
  }

  peek(): string | undefined {
    return this.lines[this.at];
  }

  next(): string | undefined {
    return this.lines[this.at++];
  }
}

function readDirective(lines: Lines): Directive | null {
  let head = lines.next();
  while (head !== undefined && (head.trim() === '' || head.trim().startsWith('#'))) head = lines.next();
  if (head === undefined) return null;
  const line = lines.number;
  head = head.trim();
  while (head.endsWith('\\')) head = `${head.slice(0, -1)} ${(lines.next() ?? '').trim()}`;
  const input: string[] = [];
  for (;;) {
    const next = lines.next();
    if (next === undefined) throw new Error(`line ${String(line)}: no ${separator} after the directive`);
    if (next === separator) break;
    input.push(next);
  }
  const { command, args } = parseHead(head);
  return { line, command, args, input: input.join('\n').trim(), expected: readExpected(lines) };
}

function readExpected(lines: Lines): string {
  const expected: string[] = [];
  if (lines.peek() === separator) {
    lines.next();
    for (;;) {
      const next = lines.next();
      if (next === undefined || (next === separator && lines.peek() === separator)) break;
      expected.push(next);
    }
    lines.next();
  } else {
    for (let next = lines.next(); next !== undefined && next !== ''; next = lines.next()) expected.push(next);
  }
  return expected.map((text) => `${text}\n`).join('');
}

function parseHead(head: string): { command: string; args: Argument[] } {
  const end = head.indexOf(' ');
  if (end === -1) return { command: head, args: [] };
  const args: Argument[] = [];
  let rest = head.slice(end).trimStart();
  while (rest !== '') {
    const { argument, length } = parseArgument(rest);
    args.push(argument);
    rest = rest.slice(length).trimStart();
  }
  return { command: head.slice(0, end), args };
}

function parseArgument(text: string): { argument: Argument; length: number } {
  const keyLength = /^[^ =]*/.exec(text)?.[0].length ?? 0;
  const key = text.slice(0, keyLength);
  if (text[keyLength] !== '=') return { argument: { key, values: [] }, length: keyLength };
  const start = keyLength + 1;
  if (text[start] === '(') {
    const end = closingParenthesis(text, start);
    return { argument: { key, values: splitList(text.slice(start + 1, end)) }, length: end + 1 };
  }
  const value = /^[^ ]*/.exec(text.slice(start))?.[0] ?? '';
  return { argument: { key, values: [value] }, length: start + value.length };
}

function closingParenthesis(text: string, start: number): number {
  let depth = 0;
  for (let i = start; i < text.length; i++) {
    if (text[i] === '(') depth++;
    else if (text[i] === ')' && --depth === 0) return i;
  }
  throw new Error(`no closing parenthesis: ${text}`);
}

function splitList(text: string): string[] {
  if (text.trim() === '') return [];
  const values: string[] = [];
  let depth = 0;
  let value = '';
  for (const c of text) {
    if (c === ',' && depth === 0) {
      values.push(value.trim());
      value = '';
      continue;
    }
    if (c === '(') depth++;
    if (c === ')') depth--;
    value += c;
  }
  values.push(value.trim());
  return values;
}
