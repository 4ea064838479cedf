/** HTML as text: escaping, tables and bars. `Html` marks what is already safe. */

export interface Html {
  html: string;
}

/** Values are escaped unless they are `Html`; lists are joined. */
export function html(parts: TemplateStringsArray, ...values: (string | number | Html | Html[])[]): Html {
  let text = parts[0]!;
  values.forEach((value, i) => {
    text += rendered(value) + parts[i + 1]!;
  });
  return { html: text };
}

/** Text that is safe already: SVG and CSS that this program made. */
export function raw(text: string): Html {
  return { html: text };
}

export const nothing: Html = { html: '' };

function rendered(value: string | number | Html | Html[]): string {
  if (Array.isArray(value)) return value.map((item) => item.html).join('');
  return typeof value === 'object' ? value.html : escape(String(value));
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

export interface Column {
  title: string;
  /** Numbers stand right. */
  number?: boolean;
}

export type Cell = string | number | Html;

export function table(columns: readonly Column[], rows: readonly (readonly Cell[])[]): Html {
  const cell = (value: Cell, column: Column | undefined): Html => {
    const shown = typeof value === 'number' ? figure(value) : value;
    return column?.number === true ? html`<td class="n">${shown}</td>` : html`<td>${shown}</td>`;
  };
  const heads = columns.map((column) => (column.number === true ? html`<th class="n">${column.title}</th>` : html`<th>${column.title}</th>`));
  const lines = rows.map((row) => html`<tr>${row.map((value, i) => cell(value, columns[i]))}</tr>\n`);
  return html`<div class="scroll"><table><thead><tr>${heads}</tr></thead><tbody>\n${lines}</tbody></table></div>`;
}

/** Names, counts and a bar on a logarithmic scale: the rare ones are the interesting ones. */
export function countTable(title: string, counts: Readonly<Record<string, number>>): Html {
  const largest = Math.max(1, ...Object.values(counts));
  const rows = Object.entries(counts).map(([name, count]): Html => {
    const percent = count === 0 ? 0 : Math.max(1, Math.round((100 * Math.log(count + 1)) / Math.log(largest + 1)));
    const bar = count === 0 ? html`<span class="warn">not reached</span>` : html`<div class="bar" style="width:${percent}%"></div>`;
    return html`<tr><td>${name}</td><td class="n">${figure(count)}</td><td class="barcell">${bar}</td></tr>\n`;
  });
  if (rows.length === 0) return html`<p class="dim">None.</p>`;
  return html`<div class="scroll"><table><thead><tr><th>${title}</th><th class="n">times</th><th></th></tr></thead><tbody>\n${rows}</tbody></table></div>`;
}

/** 1234567 → 1,234,567; at most two decimals. */
export function figure(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 2 });
}
