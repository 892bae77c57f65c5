/** The output buffer of interaction files (FORMAT.md section 3). */

const levels = ['DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL', 'NONE'] as const;
type Level = (typeof levels)[number];

export class Output {
  private level: Level = 'DEBUG';
  private buffer = '';

  reset(): void {
    this.buffer = '';
  }

  setLevel(name: string): void {
    const level = levels.find((l) => l === name.toUpperCase());
    if (level === undefined) throw new Error(`unknown log level ${name}`);
    this.level = level;
  }

  /** Runs `f` at a level, then goes back to the present one. */
  withLevel(name: string, f: () => void): void {
    const before = this.level;
    this.setLevel(name);
    try {
      f();
    } finally {
      this.level = before;
    }
  }

  write(text: string): void {
    if (this.level !== 'NONE') this.buffer += text;
  }

  indent(f: () => void): void {
    const outer = this.buffer;
    this.buffer = '';
    f();
    const lines = (this.buffer.endsWith('\n') ? this.buffer.slice(0, -1) : this.buffer).split('\n');
    const inner = this.buffer === '' ? '' : lines.map((line) => `  ${line}\n`).join('');
    this.buffer = outer + inner;
  }

  /** The text of a directive. */
  result(error: string | null): string {
    if (error !== null) return this.level === 'NONE' ? error : this.buffer + error;
    return this.buffer === '' ? 'ok' : this.buffer;
  }
}
