"use strict";
// Select2 does not hand the label, the help and the error of a field to what it puts in the field's place.
{
    const name = function(select) {
        const combobox = select.nextElementSibling?.querySelector("[role=combobox]");
        const label = select.labels[0];
        if (!combobox || !label) {
            return;
        }
        label.id ||= select.id + "_label";
        const value = combobox.querySelector("[role=textbox]");
        value?.setAttribute("aria-labelledby", label.id);
        combobox.setAttribute("aria-labelledby", value ? label.id + " " + value.id : label.id);
        for (const attribute of ["aria-describedby", "aria-invalid"]) {
            if (select.hasAttribute(attribute)) {
                combobox.setAttribute(attribute, select.getAttribute(attribute));
            }
        }
    };
    window.addEventListener("load", function() {
        // jQuery keeps the order of those that wait: by now Django's autocomplete.js waits too, or is done.
        window.django?.jQuery?.(function() {
            document.querySelectorAll("select.admin-autocomplete").forEach(name);
        });
    });
}
