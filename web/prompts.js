// What can be wrong with a prompt's words and a base model's name.

/** The words of a text in lower case, without weights and punctuation. */
const words = (text) => String(text).toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

/** Whether none of several texts has all the trigger words; false without texts. */
export function lacksTriggerWords(texts, triggerWords) {
    const required = words(triggerWords);
    const hasAll = (text) => required.every((word) => words(text).includes(word));
    return Boolean(required.length && texts.length && !texts.some(hasAll));
}

export const withTriggerWords = (text, triggerWords) => `${triggerWords}, ${text}`;

/** Whether a file has the name of a base model that is known to fail; such names are lower case without punctuation. */
export function isUnfit(file, unfitModels) {
    const name = String(file).toLowerCase().replace(/[^a-z0-9]/g, "");
    return unfitModels.some((model) => name.includes(model));
}
